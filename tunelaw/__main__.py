"""`tunelaw` on the command line and `python -m tunelaw`: runs a command and turns its end into an exit status."""

from __future__ import annotations

import os
import sys


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line; leaves through SystemExit with the statuses that `tunelaw --help` lists."""
    import click

    from tunelaw import cli, errors

    try:
        status = cli.cli.main(args=arguments, prog_name="tunelaw", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show(sys.stderr)
        sys.exit(errors.INPUT)
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        sys.exit(errors.INTERRUPTED)
    except BrokenPipeError:  # `tunelaw plan | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(errors.DONE)
    except Exception as error:
        status = errors.status_of(error)
        if status is None:
            raise
        text = errors.message_of(error)
        print(text if text.startswith("error") else f"error: {text}", file=sys.stderr)
        sys.exit(status)
    sys.exit(status or errors.DONE)


if __name__ == "__main__":
    main()
