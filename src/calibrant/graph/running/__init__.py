"""Graphs in sessions: run, run again in part, differentiated, and computed in a graph that somebody else runs."""
