"""What a norm costs: time, memory and digits lost, for one case at a time."""
