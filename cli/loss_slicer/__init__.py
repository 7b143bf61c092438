"""The `loss-slicer` command. It parses, shows and reports; what it shows is computed in `slicer_core`."""

# `Status.INTERRUPTED`, whose module takes long to import.
_INTERRUPTED = 130


def main() -> None:
    """The console script."""
    try:
        from loss_slicer.ending import ending_quietly

        with ending_quietly(_INTERRUPTED):
            _run()
    except KeyboardInterrupt as interrupt:
        # While it starts or ends; commands tell their own.
        raise SystemExit(_INTERRUPTED) from interrupt


def _run() -> None:
    from loss_slicer.streams import prepare_streams

    prepare_streams()
    from loss_slicer.app import app
    from loss_slicer.statuses import Status, say
    from loss_slicer.streams import lost_output

    try:
        app()
    except SystemExit as end:
        # Some of it may still be in the buffer.
        told = lost_output()
        if told is None:
            raise
        say(f"error: {told}")
        raise SystemExit(Status.USAGE) from end
    except OSError as error:
        # Of what the parser itself shows, as --help or a wrong option; commands tell their own.
        say(f"error: {lost_output() or error}")
        raise SystemExit(Status.USAGE) from error
