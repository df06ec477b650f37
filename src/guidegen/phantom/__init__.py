"""The parametric torso phantoms and the archive that is made of them."""
