"""What every command stands on: one run on one destination, its report and its log."""
