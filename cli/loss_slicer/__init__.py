"""The `loss-slicer` command. It parses, shows and reports; what it shows is computed in `slicer_core`."""


def main() -> None:
    """The console script."""
    import io
    import sys

    from loss_slicer.app import app

    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal of another encoding may lack a character of a path or a name.
        sys.stdout.reconfigure(errors="backslashreplace")
    app()
