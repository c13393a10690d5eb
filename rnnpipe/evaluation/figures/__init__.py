"""Figures of histories, reports, leaderboards and test images, in one style; `style.save_figure` writes them."""
