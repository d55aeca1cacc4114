"""What one container tells of itself: metrics, the truth of ``/health``, traces, its failures."""
