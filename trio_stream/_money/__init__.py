"""Money and tokens: prices, budgets, and the sums that are compared with them.

What belongs here: what usage costs, adding it up, and telling when a budget is used up. What does not: acting on that;
each room that spends decides that for itself.
"""

from trio_stream._money._budget import Budget as Budget
from trio_stream._money._charges import Charge as Charge, ChargeSums as ChargeSums, charges_of as charges_of
from trio_stream._money._costs import Costs as Costs
from trio_stream._money._estimate import OutputEstimate as OutputEstimate
from trio_stream._money._ledger import Ledger as Ledger
from trio_stream._money._prices import PriceLookup as PriceLookup, Prices as Prices, lookup_of as lookup_of
from trio_stream._money._reservation import Reservation as Reservation, Room as Room
