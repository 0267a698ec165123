"""The ground of nightlab: contracts, records, errors, geometry, sandbox and framing. Imports nothing of the other rooms."""

__version__ = "0.1.0"
