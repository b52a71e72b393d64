"""The tokens of a text, one after another, and ways to skip a part that cannot be read."""

from __future__ import annotations

from collections import deque

from calibrant.config.lexer import Token, brace_balance, tokens

CLOSERS = {"{": "}", "<": ">", "[": "]"}


class TokenStream:
    """Tokens with a short look ahead; only that part is held in memory.

    ``unclosed`` is how many braces more are opened in the whole text than closed.
    """

    def __init__(self, text: str):
        self._tokens = tokens(text)
        self._ahead: deque[Token] = deque([next(self._tokens)])
        self.unclosed = brace_balance(text)

    def peek(self, ahead: int = 0) -> Token:
        """The token that comes next, or a later one; the last token of the text stays the next one for ever."""
        while len(self._ahead) <= ahead and self._ahead[-1].kind != "end":
            self._ahead.append(next(self._tokens))
        return self._ahead[min(ahead, len(self._ahead) - 1)]

    def next(self) -> Token:
        """Take the next token."""
        token = self.peek()
        if token.kind != "end":
            self.peek(1)
            self._ahead.popleft()
        return token

    def take(self, text: str) -> bool:
        """Take the next token if it is this mark."""
        if self.peek().kind in ("mark", "junk") and self.peek().text == text:
            self.next()
            return True
        return False

    def at_end_of_value(self) -> bool:
        """Whether no value can start here: a block or the text ends, or a mark stands where a value should."""
        token = self.peek()
        return token.kind == "end" or (token.kind == "mark" and token.text in "}>],;:")

    def at_field(self) -> bool:
        """Whether a field starts here: a name followed by a colon or a brace."""
        return self.peek().kind == "word" and self.peek(1).text in (":", "{", "<", "=")

    def skip_value(self) -> Token | None:
        """Skip one value, a whole block if it is one; the opening bracket is returned if that is never closed."""
        token = self.next()
        if token.kind == "mark" and token.text in CLOSERS:
            return token if self.skip_block() else None
        while token.kind == "string" and self.peek().kind == "string":
            self.next()
        return None

    def skip_block(self) -> bool:
        """Skip to the bracket that closes the one just read; True where the text ends before it."""
        depth = 1
        while depth and self.peek().kind != "end":
            token = self.next()
            if token.kind == "mark":
                depth += (token.text in "{<[") - (token.text in "}>]")
        return depth > 0

    def skip_to_field(self) -> None:
        """Skip values, quotes and stray characters up to the next name, bracket or separator."""
        while self.peek().kind in ("number", "string", "open_string", "junk") or self.peek().text == ":":
            self.next()
