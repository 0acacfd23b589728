"""Whether images and answers are still those that a student was chosen on. Figures alone: what to do about them is elsewhere."""
