"""Pictures of plain arrays: the only folder that imports matplotlib, and imported only when a picture is asked for."""
