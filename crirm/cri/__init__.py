"""CRI as bytes and messages: the only room that knows protobuf shapes."""
