// "Show me": one chat gets a slow job, then all users write at once, to show that lanes are independent.

const KEYBOARD_TIMEOUT_MS = 3000;
const LOOK_EVERY_MS = 50;

/** `panel` gets the slow job, `burst()` sends the messages; resolves to a sentence that explains the result. */
export async function showLanes(panel, burst) {
  let slow = slowButton(panel);
  if (!slow) {
    panel.say("/start");
    for (let waited = 0; !slow && waited < KEYBOARD_TIMEOUT_MS; waited += LOOK_EVERY_MS) {
      await new Promise((resume) => setTimeout(resume, LOOK_EVERY_MS));
      slow = slowButton(panel);
    }
  }
  if (slow) panel.press(slow.message, slow.data);
  burst();
  if (!slow) return "All users wrote 20 messages at once: each chat is answered in order, all chats in parallel.";
  const { name } = panel;
  return `${name} pressed “${slow.text}”, then all users wrote 20 messages: ${name}’s wait for it, those of the others do not.`;
}

/** The newest button with "slow" in its text, if there is one. */
function slowButton(panel) {
  for (const message of panel.messages.reverse()) {
    const buttons = message.reply_markup?.inline_keyboard?.flat() ?? [];
    const button = buttons.find((each) => each.callback_data && /slow/i.test(each.text));
    if (button) return { message: message.message_id, data: button.callback_data, text: button.text };
  }
  return null;
}
