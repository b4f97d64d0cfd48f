"""``python -m trio_stream.cli``: the ``trio-stream`` command without its script."""

from trio_stream.cli import main

if __name__ == "__main__":
    main()
