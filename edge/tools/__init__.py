"""What people run besides the service: demo, doctor, score, evaluate, bench, generate."""
