"""Operations that LiteRT lacks, written out as TensorFlow code of others that it has."""
