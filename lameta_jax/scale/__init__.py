"""Many runs, long ones, many devices."""
