"""A real S3 server for tests: versitygw over a folder, built from its Go module and cached."""
