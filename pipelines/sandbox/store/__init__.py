"""What the sandbox's account contains."""
