"""What runs beside the user's container in a stage's pod."""
