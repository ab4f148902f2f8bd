"""Many runs and long ones: checkpoints."""
