"""The version of the package, in the one place the build and the user agent read it from."""

__version__ = "0.1.0"
