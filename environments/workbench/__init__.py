"""The verifier workbench: labelled sets, versions of an environment, and the sandboxed process that runs one of them."""
