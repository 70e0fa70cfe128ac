"""To look at: an episode on the terminal, stored trajectories as a page.

play.py           `envtune play`: one episode, reply by reply
policies.py       who replies: the ground truth, a person, a model behind an endpoint
human.py          what a person types, as a reply
page.py           `envtune view`: one HTML page (view.html, view.css, episode.js, list.js)
replay.py         a trajectory as plain values to show, with states; both commands show only these
differences.py    where the state differs from the ground truth's
text.py           text made fit to be shown
"""
