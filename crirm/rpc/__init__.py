"""gRPC over HTTP/2: server, client pool and the crossing to asyncio; knows bytes and method names only."""
