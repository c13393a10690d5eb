"""How good a trained net is: metrics, reports, figures, the leaderboard and the promotion rule."""
