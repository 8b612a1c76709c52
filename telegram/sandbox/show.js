// "Show me": one chat gets a slow job, then everybody writes at once. What one sees is the promise of the lanes.

const KEYBOARD_TIMEOUT_MS = 3000;
const LOOK_EVERY_MS = 50;

/** `panel` gets the slow job, `burst()` sends the messages; resolves to a sentence that says what happened. */
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
  if (!slow) return "All wrote 20 messages at once: each chat is answered in order, all chats side by side.";
  const { name } = panel;
  return `${name} pressed “${slow.text}”, then all wrote 20 messages: ${name}’s wait for it, nobody else’s do.`;
}

/** The newest button that says "slow", if the bot offers one. */
function slowButton(panel) {
  for (const message of panel.messages.reverse()) {
    const buttons = message.reply_markup?.inline_keyboard?.flat() ?? [];
    const button = buttons.find((each) => each.callback_data && /slow/i.test(each.text));
    if (button) return { message: message.message_id, data: button.callback_data, text: button.text };
  }
  return null;
}
