"""What messages are made of."""

import pytest

from calibrant.errors import shortened


@pytest.mark.parametrize(
    ("text", "most", "kept"),
    [
        ("a node", 6, "a node"),
        ("The input 'map/while/Reshape' is outside", 25, "The input …"),
        ("The input 'map/while/Reshape' is outside", 33, "The input 'map/while/Reshape' is …"),
        ("says 'it doesn't take that node' here", 24, "says 'it doesn't take …'"),
        ("in \"frame (a)\", of 'b c d'", 23, "in \"frame (a)\", of 'b …'"),
        ("/a/long/path/without/a/space", 7, "/a/long …"),
    ],
)
def test_texts_are_cut_between_words_and_quotations_closed(text, most, kept):
    assert shortened(text, most) == kept
