"""How well containers are placed: traces of arrivals and departures, with best fit and the exact bound beside."""
