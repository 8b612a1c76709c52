"""A hairdresser's salon: bookings with reminders, and what belongs to them. `HANDLERS=handlers.salon:router make run`.

booking      /book: service, day, time, phone number, confirmation
visits       /visits: the customer's bookings, to cancel one; reminders; payments
owner        /owner, /tell: messages to all customers; reports of errors
pictures     photos and albums from customers, saved on the disk
services     the services, for inline queries, too
languages    /language
"""

from handlers.salon import booking, languages, owner, pictures, services, visits
from handlers.salon.model import TEXTS, salon_data
from telegram.dialogue import Router, help_command, throttle

router = Router(throttle(20, per_s=10, tell="Slower, please."), texts=TEXTS)
router.include(salon_data)
for part in (languages, owner, booking, visits, pictures, services):
    router.include(part.router)
router.include(help_command(router))
router.error(Exception)(owner.report)
