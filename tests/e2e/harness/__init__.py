"""What the end-to-end tests start (buses, event servers, the gateway) and read back."""
