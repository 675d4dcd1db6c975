"""The query of the `sales` case; the definition declares the columns it gives."""

from __future__ import annotations

# In the order of listings, so that the same sales give the same rows at the same positions.
QUERY = """\
SELECT l.listid AS list_id, l.eventid AS event_id, l.listtime AS list_time, c.catname AS category,
       v.venuestate AS venue_state, v.venueseats AS venue_seats, d.day AS weekday, d.month AS month,
       d.holiday AS holiday, l.numtickets AS num_tickets,
       CAST(l.priceperticket AS double precision) AS price_per_ticket, SUM(s.qtysold) AS totalsold
FROM {schema}.sales s
JOIN {schema}.listing l ON s.listid = l.listid
JOIN {schema}.event e ON l.eventid = e.eventid
JOIN {schema}.category c ON e.catid = c.catid
JOIN {schema}.date d ON e.dateid = d.dateid
LEFT JOIN {schema}.venue v ON e.venueid = v.venueid
GROUP BY l.listid, l.eventid, l.listtime, c.catname, v.venuestate, v.venueseats, d.day, d.month, d.holiday,
         l.numtickets, l.priceperticket
ORDER BY l.listid"""
