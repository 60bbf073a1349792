// What somebody has typed or chosen, and not saved yet.

function differs(field) {
  if (field instanceof HTMLSelectElement) return [...field.options].some((option) => option.defaultSelected && !option.selected);
  return field.defaultValue !== undefined && field.value !== field.defaultValue;
}

/** Whether a form is other than it came. A conflict is shown with what was typed as the fields' first values. */
export const changed = (form) => form.matches("[data-unsaved]") || [...form.elements].some(differs);

/** Whether leaving the page would lose anything that was written on it. */
export const anythingTyped = () => [...document.querySelectorAll("form[data-dirty], form[data-clear]")].some(changed);
