"""Stand-in for `slicer.i18n`: texts stay English.  Looked up in Slicer, Base/Python/slicer/i18n.py."""


def tr(text: str) -> str:
    """Return the text; in Slicer, its translation in the context that the calling file's name gives."""
    return translate("", text)


def translate(context: str, text: str) -> str:
    """Return the text; in Slicer, its translation in this context."""
    return text
