"""Tests of `trio_stream._limiter`."""
