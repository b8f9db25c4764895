"""Settings of the project: what a small shop would have, everything else as Django and the packages bring it."""

import json
import os

PEER = os.environ["BENCH_PEER"]

SECRET_KEY = "a key for the benchmark"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "shop.Customer"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "shop",
    *{"django-post-office": ["post_office"], "django-drip-campaigns": ["drip", "drip.campaigns"]}[PEER],
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {"default": json.loads(os.environ["BENCH_DATABASE"])}
EMAIL_BACKEND = (
    "post_office.EmailBackend" if PEER == "django-post-office" else "django.core.mail.backends.smtp.EmailBackend"
)
EMAIL_HOST = "127.0.0.1"
EMAIL_PORT = int(os.environ["BENCH_SMTP_PORT"])
DEFAULT_FROM_EMAIL = "hello@fernway.example"
LOGGING_CONFIG = None
