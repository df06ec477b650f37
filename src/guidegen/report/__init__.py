"""The phase `report`."""
