"""Reply preferences: thumbs as votes, hostile voters kept out, policies learned from what is left. Pure mathematics.

``evidence`` holds the arrays, ``screening`` weighs voters, ``pairs`` builds comparisons, ``losses`` and ``learners``
move the policy, ``policy`` exports it, ``offpolicy`` judges it before it is served.
"""
