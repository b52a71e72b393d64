"""Operations without an integer kernel, written out as others that have one and whose numbers can be observed."""
