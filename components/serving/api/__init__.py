"""The HTTP endpoint of `rnr serve`: app (paths), front (who may enter), upload (what comes in), schema and problems
(what goes out), server (the sockets). Manual: docs/api.md."""
