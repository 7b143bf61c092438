"""What the plugin answers: pure functions from a log and arguments to bytes. Routes are `plugin`'s."""
