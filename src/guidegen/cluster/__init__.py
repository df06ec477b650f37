"""What a study needs to know about a SLURM cluster beyond Snakemake's executor plugin."""
