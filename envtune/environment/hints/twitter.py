"""Hints of TwitterAPI: who is logged in, and which posts and users there are."""

from __future__ import annotations

from types import MappingProxyType

from envtune.environment.hints.arguments import retyped, typed
from envtune.environment.hints.hint import Domain, HintKind, NextCall, Situation, Values, example, hint

_CLASS = "TwitterAPI"
_CONSTRAINT, _DEPENDENCY = HintKind.CONSTRAINT, HintKind.DEPENDENCY
_BY_ID = "retweet comment mention get_tweet get_tweet_comments"
_NOT_FOUND = " not found"
_FOLLOWING = NextCall("list_all_following", "Call {call} to see whom the user follows.", {})


def _logged_in(s: Situation) -> Values | None:
    return {} if s.api(_CLASS).get("authenticated") else None


def _logged_out(s: Situation) -> Values | None:
    return None if s.api(_CLASS).get("authenticated") else {}


TWITTER = Domain(
    "twitter",
    _CLASS,
    (
        hint("twitter.login.first", _DEPENDENCY,
             "post_tweet retweet comment follow_user unfollow_user list_all_following",
             r"not authenticated|must derive from BaseException", "The user has to be logged in first.", _logged_out,
             next=NextCall("authenticate_twitter", "Log in with {call}."),
             examples=(example("post_tweet(content='c')"), example("comment(tweet_id=1, comment_content='c')"),
                       example("list_all_following()"))),
        hint("twitter.login.again", _CONSTRAINT, "authenticate_twitter", r'"authentication_status": false',
             "The user name or the password is not right, but the user is logged in already: go on.", _logged_in,
             next=NextCall("posting_get_login_status", "{call} shows it.", {}), silent=True,
             examples=example("authenticate_twitter(username='ann', password='x')", authenticated=True)),
        hint("twitter.login.wrong", _CONSTRAINT, "authenticate_twitter", r'"authentication_status": false',
             "Nobody is logged in: the user name or the password is not right. Both must be exactly as the user gave "
             "them, letter case included.", silent=True, examples=example("authenticate_twitter(username='ann', password='x')")),
        typed("twitter.post.type", _BY_ID, _NOT_FOUND, "tweet_id", example("get_tweet(tweet_id='0')")),
        hint("twitter.post.unknown", _DEPENDENCY, _BY_ID, _NOT_FOUND, "There is no tweet with the id {tweet_id}.",
             next=(NextCall("get_user_tweets", "{call} gives the ids of what a user has posted."),
                   NextCall("search_tweets", "{call} gives the ids of those that contain a word.")),
             examples=(example("get_tweet(tweet_id=9)"),
                       example("authenticate_twitter(username='ann', password='pw')", "retweet(tweet_id=9)"),
                       example("mention(tweet_id=9, mentioned_usernames=['@b'])"),
                       example("get_tweet_comments(tweet_id=9)", held_out="get_user_tweets"))),
        hint("twitter.retweet.done", _CONSTRAINT, "retweet", r"Already retweeted",
             "That is done already: nothing is left to do.", silent=True,
             examples=example("retweet(tweet_id=0)", "retweet(tweet_id=0)", authenticated=True)),
        hint("twitter.follow.done", _CONSTRAINT, "follow_user", r'"follow_status": false',
             "The user follows {username_to_follow} already: nothing is left to do.", next=_FOLLOWING, silent=True,
             examples=example("follow_user(username_to_follow='bob')", authenticated=True)),
        typed("twitter.unfollow.type", "unfollow_user", '"unfollow_status": false', "username_to_unfollow",
              example("unfollow_user(username_to_unfollow=['bob'])", authenticated=True), silent=True),
        hint("twitter.record", _CONSTRAINT, "search_tweets mention get_user_tweets",
             r"^Error during execution: ('\w+' object has no attribute '(lower|extend)'|.*is not iterable$|'\w+'$)",
             "A stored tweet holds something that this tool cannot work with, so it does not work here.",
             lambda s: None if retyped(s) else {},
             examples=example("post_tweet(content=5)", "search_tweets(keyword='c')", authenticated=True)),
        hint("twitter.unfollow.none", _CONSTRAINT, "unfollow_user", r'"unfollow_status": false',
             "The user does not follow {username_to_unfollow}. Names are exact, letter case included.", next=_FOLLOWING,
             silent=True, examples=example("unfollow_user(username_to_unfollow='Bob')", authenticated=True)),
    ),
    MappingProxyType(
        {
            "username": "ann", "password": "pw", "authenticated": False, "following_list": ["bob"], "tweet_counter": 1,
            "tweets": {"0": {"id": 0, "username": "ann", "content": "c", "tags": [], "mentions": []}},
            "comments": {}, "retweets": {},
        }
    ),
)  # fmt: skip
