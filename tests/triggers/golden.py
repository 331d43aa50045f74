"""Triggers as version 3.11.3 of the package stored them, and what they must come to.

Each blob is the base64 of a pickled job state, protocol 4.
"""

from __future__ import annotations

from typing import NamedTuple


class Golden(NamedTuple):
    """One stored job: what its trigger must look like, and its next fire times.

    The fire times are those from 2029-12-01T00:00Z on, jitter left out; None ends them.
    """

    name: str
    text: str
    representation: str
    fire_times: tuple[str | None, ...]
    blob: str


GOLDEN = [
    Golden(
        "g-date",
        "date[2030-01-02 03:04:05 UTC]",
        "<DateTrigger (run_date='2030-01-02 03:04:05 UTC')>",
        ("2030-01-02T03:04:05.000006+00:00", None),
        "gASV0QEAAAAAAAB9lCiMB3ZlcnNpb26USwGMAmlklIwGZy1kYXRllIwEZnVuY5SMDmJ1aWx0aW5zOnByaW50"
        "lIwHdHJpZ2dlcpSMGWFwc2NoZWR1bGVyLnRyaWdnZXJzLmRhdGWUjAtEYXRlVHJpZ2dlcpSTlCmBlH2UKGgB"
        "SwGMCHJ1bl9kYXRllIwIZGF0ZXRpbWWUjAhkYXRldGltZZSTlEMKB+4BAgMEBQAABpRoDYwIdGltZXpvbmWU"
        "k5RoDYwJdGltZWRlbHRhlJOUSwBLAEsAh5RSlIWUUpSGlFKUdWKMCGV4ZWN1dG9ylIwHZGVmYXVsdJSMBGFy"
        "Z3OUjAF4lEsBhpSMBmt3YXJnc5R9lIwDZW5klIwAlHOMBG5hbWWUjAVwcmludJSMEm1pc2ZpcmVfZ3JhY2Vf"
        "dGltZZRLHowIY29hbGVzY2WUiYwNbWF4X2luc3RhbmNlc5RLAowNbmV4dF9ydW5fdGltZZRoD0MKB+4BAQAA"
        "AAAAAJSMCGJ1aWx0aW5zlIwHZ2V0YXR0cpSTlIwIem9uZWluZm+UjAhab25lSW5mb5STlIwJX3VucGlja2xl"
        "lIaUUpSMD0V1cm9wZS9IZWxzaW5raZRLAYaUUpSGlFKUdS4=",
    ),
    Golden(
        "g-interval",
        "interval[0:07:00]",
        "<IntervalTrigger (interval=datetime.timedelta(seconds=420), start_date='2030-01-"
        "01 00:00:00 JST', end_date='2031-01-01 00:00:00 JST', jitter=4, timezone='Asia/T"
        "okyo')>",
        ("2030-01-01T00:00:00+09:00", "2030-01-01T00:07:00+09:00", "2030-01-01T00:14:00+09:00"),
        "gASVNwIAAAAAAAB9lCiMB3ZlcnNpb26USwGMAmlklIwKZy1pbnRlcnZhbJSMBGZ1bmOUjA5idWlsdGluczpw"
        "cmludJSMB3RyaWdnZXKUjB1hcHNjaGVkdWxlci50cmlnZ2Vycy5pbnRlcnZhbJSMD0ludGVydmFsVHJpZ2dl"
        "cpSTlCmBlH2UKGgBSwKMCHRpbWV6b25llIwIYnVpbHRpbnOUjAdnZXRhdHRylJOUjAh6b25laW5mb5SMCFpv"
        "bmVJbmZvlJOUjAlfdW5waWNrbGWUhpRSlIwKQXNpYS9Ub2t5b5RLAYaUUpSMCnN0YXJ0X2RhdGWUjAhkYXRl"
        "dGltZZSMCGRhdGV0aW1llJOUQwoH7gEBAAAAAAAAlGgYhpRSlIwIZW5kX2RhdGWUaBxDCgfvAQEAAAAAAACU"
        "aBiGlFKUjAhpbnRlcnZhbJRoGowJdGltZWRlbHRhlJOUSwBNpAFLAIeUUpSMBmppdHRlcpRLBHVijAhleGVj"
        "dXRvcpSMB2RlZmF1bHSUjARhcmdzlIwBeJRLAYaUjAZrd2FyZ3OUfZSMA2VuZJSMAJRzjARuYW1llIwFcHJp"
        "bnSUjBJtaXNmaXJlX2dyYWNlX3RpbWWUSx6MCGNvYWxlc2NllImMDW1heF9pbnN0YW5jZXOUSwKMDW5leHRf"
        "cnVuX3RpbWWUaBxDCgfuAQEAAAAAAACUaA9oEowJX3VucGlja2xllIaUUpSMD0V1cm9wZS9IZWxzaW5raZRL"
        "AYaUUpSGlFKUdS4=",
    ),
    Golden(
        "g-cron",
        "cron[month='jan-mar,5', day='last,1st fri,last sun', week='1/2', day_of_week='mo"
        "n-wed,6', hour='*/2', minute='5-50/15']",
        "<CronTrigger (month='jan-mar,5', day='last,1st fri,last sun', week='1/2', day_of"
        "_week='mon-wed,6', hour='*/2', minute='5-50/15', start_date='2030-01-01 00:00:00"
        " JST', timezone='Asia/Tokyo')>",
        ("2030-03-31T00:05:00+09:00", "2030-03-31T00:20:00+09:00", "2030-03-31T00:35:00+09:00"),
        "gASVLgUAAAAAAAB9lCiMB3ZlcnNpb26USwGMAmlklIwGZy1jcm9ulIwEZnVuY5SMDmJ1aWx0aW5zOnByaW50"
        "lIwHdHJpZ2dlcpSMGWFwc2NoZWR1bGVyLnRyaWdnZXJzLmNyb26UjAtDcm9uVHJpZ2dlcpSTlCmBlH2UKGgB"
        "SwKMCHRpbWV6b25llIwIYnVpbHRpbnOUjAdnZXRhdHRylJOUjAh6b25laW5mb5SMCFpvbmVJbmZvlJOUjAlf"
        "dW5waWNrbGWUhpRSlIwKQXNpYS9Ub2t5b5RLAYaUUpSMCnN0YXJ0X2RhdGWUjAhkYXRldGltZZSMCGRhdGV0"
        "aW1llJOUQwoH7gEBAAAAAAAAlGgYhpRSlIwIZW5kX2RhdGWUTowGZmllbGRzlF2UKIwgYXBzY2hlZHVsZXIu"
        "dHJpZ2dlcnMuY3Jvbi5maWVsZHOUjAlCYXNlRmllbGSUk5QpgZR9lCiMBG5hbWWUjAR5ZWFylIwKaXNfZGVm"
        "YXVsdJSIjAtleHByZXNzaW9uc5RdlIwlYXBzY2hlZHVsZXIudHJpZ2dlcnMuY3Jvbi5leHByZXNzaW9uc5SM"
        "DUFsbEV4cHJlc3Npb26Uk5QpgZR9lIwEc3RlcJROc2JhdWJoI4wKTW9udGhGaWVsZJSTlCmBlH2UKGgojAVt"
        "b250aJRoKoloK12UKGgtjBRNb250aFJhbmdlRXhwcmVzc2lvbpSTlCmBlH2UKGgyTowFZmlyc3SUSwGMBGxh"
        "c3SUSwN1YmgtjA9SYW5nZUV4cHJlc3Npb26Uk5QpgZR9lChoMk5oPUsFaD5LBXViZXViaCOMD0RheU9mTW9u"
        "dGhGaWVsZJSTlCmBlH2UKGgojANkYXmUaCqJaCtdlChoLYwYTGFzdERheU9mTW9udGhFeHByZXNzaW9ulJOU"
        "KYGUfZRoMk5zYmgtjBlXZWVrZGF5UG9zaXRpb25FeHByZXNzaW9ulJOUKYGUfZQoaDJOjApvcHRpb25fbnVt"
        "lEsAjAd3ZWVrZGF5lEsEdWJoTimBlH2UKGgyTmhRSwVoUksGdWJldWJoI4wJV2Vla0ZpZWxklJOUKYGUfZQo"
        "aCiMBHdlZWuUaCqJaCtdlGhAKYGUfZQoaDJLAmg9SwFoPk51YmF1YmgjjA5EYXlPZldlZWtGaWVsZJSTlCmB"
        "lH2UKGgojAtkYXlfb2Zfd2Vla5RoKoloK12UKGgtjBZXZWVrZGF5UmFuZ2VFeHByZXNzaW9ulJOUKYGUfZQo"
        "aDJOaD1LAGg+SwJ1YmhAKYGUfZQoaDJOaD1LBmg+SwZ1YmV1YmglKYGUfZQoaCiMBGhvdXKUaCqJaCtdlGgv"
        "KYGUfZRoMksCc2JhdWJoJSmBlH2UKGgojAZtaW51dGWUaCqJaCtdlGhAKYGUfZQoaDJLD2g9SwVoPksydWJh"
        "dWJoJSmBlH2UKGgojAZzZWNvbmSUaCqIaCtdlGhAKYGUfZQoaDJOaD1LAGg+SwB1YmF1YmWMBmppdHRlcpRO"
        "dWKMCGV4ZWN1dG9ylIwHZGVmYXVsdJSMBGFyZ3OUjAF4lEsBhpSMBmt3YXJnc5R9lIwDZW5klIwAlHNoKIwF"
        "cHJpbnSUjBJtaXNmaXJlX2dyYWNlX3RpbWWUSx6MCGNvYWxlc2NllImMDW1heF9pbnN0YW5jZXOUSwKMDW5l"
        "eHRfcnVuX3RpbWWUaBxDCgfuAQEAAAAAAACUaA9oEowJX3VucGlja2xllIaUUpSMD0V1cm9wZS9IZWxzaW5r"
        "aZRLAYaUUpSGlFKUdS4=",
    ),
    Golden(
        "g-cal",
        "CalendarIntervalTrigger(months=1, days=2, time='03:00:00', start_date='2030-01-0"
        "5', timezone='Asia/Tokyo')",
        "CalendarIntervalTrigger(months=1, days=2, time='03:00:00', start_date='2030-01-0"
        "5', timezone='Asia/Tokyo')",
        ("2030-01-05T03:00:00+09:00", "2030-02-07T03:00:00+09:00", "2030-03-09T03:00:00+09:00"),
        "gASVMAIAAAAAAAB9lCiMB3ZlcnNpb26USwGMAmlklIwFZy1jYWyUjARmdW5jlIwOYnVpbHRpbnM6cHJpbnSU"
        "jAd0cmlnZ2VylIwlYXBzY2hlZHVsZXIudHJpZ2dlcnMuY2FsZW5kYXJpbnRlcnZhbJSMF0NhbGVuZGFySW50"
        "ZXJ2YWxUcmlnZ2VylJOUKYGUfZQoaAFLAYwIaW50ZXJ2YWyUXZQoSwBLAUsASwJljAR0aW1llF2UKEsDSwBL"
        "AGWMCnN0YXJ0X2RhdGWUjAhkYXRldGltZZSMBGRhdGWUk5RDBAfuAQWUhZRSlIwIZW5kX2RhdGWUTowIdGlt"
        "ZXpvbmWUjAhidWlsdGluc5SMB2dldGF0dHKUk5SMCHpvbmVpbmZvlIwIWm9uZUluZm+Uk5SMCV91bnBpY2ts"
        "ZZSGlFKUjApBc2lhL1Rva3lvlEsBhpRSlIwGaml0dGVylE51YowIZXhlY3V0b3KUjAdkZWZhdWx0lIwEYXJn"
        "c5SMAXiUSwGGlIwGa3dhcmdzlH2UjANlbmSUjACUc4wEbmFtZZSMBXByaW50lIwSbWlzZmlyZV9ncmFjZV90"
        "aW1llEsejAhjb2FsZXNjZZSJjA1tYXhfaW5zdGFuY2VzlEsCjA1uZXh0X3J1bl90aW1llGgRjAhkYXRldGlt"
        "ZZSTlEMKB+4BAQAAAAAAAJRoG2gejAlfdW5waWNrbGWUhpRSlIwPRXVyb3BlL0hlbHNpbmtplEsBhpRSlIaU"
        "UpR1Lg==",
    ),
    Golden(
        "g-or",
        "or[cron[hour='1'], date[2030-01-01 00:00:00 UTC]]",
        "<OrTrigger([<CronTrigger (hour='1', timezone='UTC')>, <DateTrigger (run_date='20"
        "30-01-01 00:00:00 UTC')>], jitter=2)>",
        ("2029-12-01T01:00:00+00:00", "2029-12-02T01:00:00+00:00", "2029-12-03T01:00:00+00:00"),
        "gASVywQAAAAAAAB9lCiMB3ZlcnNpb26USwGMAmlklIwEZy1vcpSMBGZ1bmOUjA5idWlsdGluczpwcmludJSM"
        "B3RyaWdnZXKUjB5hcHNjaGVkdWxlci50cmlnZ2Vycy5jb21iaW5pbmeUjAlPclRyaWdnZXKUk5QpgZR9lCho"
        "AUsBjAh0cmlnZ2Vyc5RdlCiMJWFwc2NoZWR1bGVyLnRyaWdnZXJzLmNyb246Q3JvblRyaWdnZXKUfZQoaAFL"
        "AowIdGltZXpvbmWUjAhkYXRldGltZZSMCHRpbWV6b25llJOUaBGMCXRpbWVkZWx0YZSTlEsASwBLAIeUUpSF"
        "lFKUjApzdGFydF9kYXRllE6MCGVuZF9kYXRllE6MBmZpZWxkc5RdlCiMIGFwc2NoZWR1bGVyLnRyaWdnZXJz"
        "LmNyb24uZmllbGRzlIwJQmFzZUZpZWxklJOUKYGUfZQojARuYW1llIwEeWVhcpSMCmlzX2RlZmF1bHSUiIwL"
        "ZXhwcmVzc2lvbnOUXZSMJWFwc2NoZWR1bGVyLnRyaWdnZXJzLmNyb24uZXhwcmVzc2lvbnOUjA1BbGxFeHBy"
        "ZXNzaW9ulJOUKYGUfZSMBHN0ZXCUTnNiYXViaB6MCk1vbnRoRmllbGSUk5QpgZR9lChoI4wFbW9udGiUaCWI"
        "aCZdlGgqKYGUfZRoLU5zYmF1YmgejA9EYXlPZk1vbnRoRmllbGSUk5QpgZR9lChoI4wDZGF5lGgliGgmXZRo"
        "KimBlH2UaC1Oc2JhdWJoHowJV2Vla0ZpZWxklJOUKYGUfZQoaCOMBHdlZWuUaCWIaCZdlGgqKYGUfZRoLU5z"
        "YmF1YmgejA5EYXlPZldlZWtGaWVsZJSTlCmBlH2UKGgjjAtkYXlfb2Zfd2Vla5RoJYhoJl2UaCopgZR9lGgt"
        "TnNiYXViaCApgZR9lChoI4wEaG91cpRoJYloJl2UaCiMD1JhbmdlRXhwcmVzc2lvbpSTlCmBlH2UKGgtTowF"
        "Zmlyc3SUSwGMBGxhc3SUSwF1YmF1YmggKYGUfZQoaCOMBm1pbnV0ZZRoJYhoJl2UaFMpgZR9lChoLU5oVksA"
        "aFdLAHViYXViaCApgZR9lChoI4wGc2Vjb25klGgliGgmXZRoUymBlH2UKGgtTmhWSwBoV0sAdWJhdWJljAZq"
        "aXR0ZXKUTnWGlIwlYXBzY2hlZHVsZXIudHJpZ2dlcnMuZGF0ZTpEYXRlVHJpZ2dlcpR9lChoAUsBjAhydW5f"
        "ZGF0ZZRoEYwIZGF0ZXRpbWWUk5RDCgfuAQEAAAAAAACUaBmGlFKUdYaUZWhkSwJ1YowIZXhlY3V0b3KUjAdk"
        "ZWZhdWx0lIwEYXJnc5SMAXiUSwGGlIwGa3dhcmdzlH2UjANlbmSUjACUc2gjjAVwcmludJSMEm1pc2ZpcmVf"
        "Z3JhY2VfdGltZZRLHowIY29hbGVzY2WUiYwNbWF4X2luc3RhbmNlc5RLAowNbmV4dF9ydW5fdGltZZRoakMK"
        "B+4BAQAAAAAAAJSMCGJ1aWx0aW5zlIwHZ2V0YXR0cpSTlIwIem9uZWluZm+UjAhab25lSW5mb5STlIwJX3Vu"
        "cGlja2xllIaUUpSMD0V1cm9wZS9IZWxzaW5raZRLAYaUUpSGlFKUdS4=",
    ),
]
