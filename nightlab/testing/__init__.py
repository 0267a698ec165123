"""Contract suites and scripted fakes, shipped so that implementers of the contracts can use them."""
