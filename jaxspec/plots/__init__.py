"""Pictures of plain arrays: the only folder that imports matplotlib; methods import it when they draw."""
