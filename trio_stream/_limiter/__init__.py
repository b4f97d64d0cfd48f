"""Rate limits: when a request may be sent, and who goes first.

What belongs here: the interface of limiters, the one that follows the API's headers, and the permits that requests wait
for. What does not: who asks for permits (`_stream` for each attempt, `batch` behind its other gates), and how many
requests of a fan-out are under way (`batch`).
"""

from ._admission import Admission as Admission
from ._buckets import Bucket as Bucket
from ._clock import Clock as Clock
from ._estimates import permits_for as permits_for
from ._header_limiter import LONGEST_PAUSE as LONGEST_PAUSE, HeaderRateLimiter as HeaderRateLimiter
from ._interface import Lane as Lane, Permit as Permit, RateLimiter as RateLimiter, check_lane as check_lane
from ._lanes import Lanes as Lanes, Waiter as Waiter
from ._means import FIRST_OUTPUT as FIRST_OUTPUT, counted_input as counted_input, running_mean as running_mean
from ._working_lane import working_lane as working_lane
