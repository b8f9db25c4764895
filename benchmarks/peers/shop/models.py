"""Customers, with all that the message says about them: one row each, so that nothing else is read for it."""

from django.contrib.auth.base_user import AbstractBaseUser
from django.core import signing
from django.db import models

PICKS = ("Merino socks, two pairs", "Waxed canvas tote", "Field notes & pencil", "Enamel mug")


class Customer(AbstractBaseUser):
    """A customer with the order that brought them to their stage."""

    email = models.CharField(max_length=320, unique=True)
    first_name = models.CharField(max_length=100, null=True)
    city = models.CharField(max_length=100)
    tier = models.CharField(max_length=20)
    points = models.IntegerField()
    stage = models.CharField(max_length=20, db_index=True)
    order_id = models.CharField(max_length=20)
    amount = models.FloatField()
    ordered_at = models.DateTimeField()
    is_active = models.BooleanField(default=True)

    USERNAME_FIELD = "email"
    picks = PICKS

    @property
    def unsubscribe_url(self) -> str:
        """The signed link that stands in the message."""
        return f"https://example.org/u/{signing.dumps(self.pk)}"
