"""What is kept between runs: checkpoints, watermarks, requests. Pure logic."""
