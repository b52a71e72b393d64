"""Steps that are decided by the error at the network's outputs, for which data are read again."""
